{{/*
Names, labels, images and environment, for every template of the chart. What surrounds the platform has its own in
_surroundings.tpl; pods are made in _pod.tpl, Deployments in _workload.tpl.
*/}}

{{- define "spindle.selector" -}}
app.kubernetes.io/name: spindle
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spindle.labels" -}}
{{ include "spindle.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What selects the pods of one component. Takes a dict: root, component (api, beat, serve, migrate, worker-POOL). */}}
{{- define "spindle.componentSelector" -}}
{{ include "spindle.selector" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/*
The metadata of an object of one component: name, labels, annotations. Takes a dict: root, component, and where
wanted annotations (a dict).
*/}}
{{- define "spindle.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels: {{ include "spindle.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
{{- with .annotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The reference of an image. Takes a dict: root, image (repository, tag, digest), and name where it is one of ours. The
tag is the chart's appVersion unless given, with -cuda where torch is for CUDA; a digest says which bytes, whatever the
tag says.
*/}}
{{- define "spindle.image" -}}
{{- $built := and (has .name (list "worker" "serve")) (eq .root.Values.images.accelerator "cuda") | ternary "-cuda" "" }}
{{- with .root.Values.images.registry }}{{ . }}/{{ end }}{{ .image.repository }}:{{ .image.tag | default (print .root.Chart.AppVersion $built) }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "spindle.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Settings as environment: the Secrets' addresses, then values.settings, strings as they are and numbers unrounded. */}}
{{- define "spindle.env" -}}
{{- range $part := list "database" "broker" "store" }}
- name: SPINDLE_{{ upper $part }}_URL
  valueFrom: {secretKeyRef: {{ include "spindle.secretRef" (dict "root" $ "part" $part) }}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: SPINDLE_{{ upper $name }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- if .Values.baseModels.claim }}
- name: SPINDLE_BASE_MODELS
  value: /models
{{- end }}
{{- end }}

{{/* Seconds that a unit may take for its checkpoint when it has to stop. */}}
{{- define "spindle.checkpoint" -}}
{{ ceil (hasKey .Values.settings "shutdown_grace_seconds" | ternary .Values.settings.shutdown_grace_seconds 60) }}
{{- end }}

{{/* Seconds until the kubelet kills a worker: what a checkpoint may take, and a minute to upload it. */}}
{{- define "spindle.grace" -}}
{{ add (include "spindle.checkpoint" . | int) 60 }}
{{- end }}

{{/* The security contexts of every pod and container of the chart. */}}
{{- define "spindle.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "spindle.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A quantity of memory or disk ("2Gi", "500M", "1.5G") in bytes, as an integer. */}}
{{- define "spindle.bytes" -}}
{{- $factors := dict "" 1 "m" 0.001 "k" 1e3 "K" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 }}
{{- $unit := regexFind "[A-Za-z]+$" (toString .) }}
{{- mulf (trimSuffix $unit (toString .) | float64) (get $factors $unit) | floor | int64 }}
{{- end }}
