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

{{/* Settings as environment: the Secret's addresses, then values.settings, strings as they are and numbers unrounded. */}}
{{- define "spindle.env" -}}
{{- range list "SPINDLE_DATABASE_URL" "SPINDLE_BROKER_URL" "SPINDLE_STORE_URL" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.Values.existingSecret | quote }}, key: {{ . }}}}
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

{{/* Seconds until the kubelet kills a worker: what a checkpoint may take, and a minute to upload it. */}}
{{- define "spindle.grace" -}}
{{ add (ceil (.Values.settings.shutdown_grace_seconds | default 60)) 60 }}
{{- end }}

{{/*
The pod of one component. Takes a dict: root, image (api or engine), args, spec (resources and the node's wishes),
and where needed grace, restart, env and container (YAML of more).
*/}}
{{- define "spindle.pod" -}}
{{- $root := .root }}
{{- $image := index $root.Values.images .image }}
restartPolicy: {{ .restart | default "Always" }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace | default 30 }}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .spec.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .spec.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: spindle
    image: "{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}"
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    args: {{ toJson .args }}
    env: {{ include "spindle.env" $root | nindent 6 }}
      {{- with .env }}{{ . | nindent 6 }}{{ end }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    resources:
      {{- $resources := deepCopy (.spec.resources | default dict) }}
      {{- with .spec.gpus }}
      {{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" (int .)) ($resources.limits | default dict)) }}
      {{- end }}
      {{- toYaml $resources | nindent 6 }}
    {{- with .container }}{{ . | nindent 4 }}{{ end }}
    volumeMounts:
      - {name: state, mountPath: /state}
      - {name: tmp, mountPath: /tmp}
      {{- if .spec.shm }}
      - {name: shm, mountPath: /dev/shm}
      {{- end }}
      {{- if $root.Values.baseModels.claim }}
      - {name: base-models, mountPath: /models, readOnly: true}
      {{- end }}
volumes:
  - name: state
    emptyDir: { {{- with .spec.disk }}sizeLimit: {{ . }}{{ end -}} }
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
  {{- with .spec.shm }}
  - name: shm
    emptyDir: {medium: Memory, sizeLimit: {{ . }}}
  {{- end }}
  {{- with $root.Values.baseModels.claim }}
  - name: base-models
    persistentVolumeClaim: {claimName: {{ . | quote }}, readOnly: true}
  {{- end }}
{{- end }}

{{/*
A Deployment and its disruption budget. Takes the pod's dict with component and name; `replace` for those that hold a
GPU, where the old pod must go before the new one finds a place.
*/}}
{{- define "spindle.deployment" -}}
{{- $name := printf "%s-%s" .root.Release.Name .name -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{ include "spindle.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
spec:
  replicas: {{ int (hasKey .spec "replicas" | ternary .spec.replicas 1) }}
  {{- if .replace }}
  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  {{- end }}
  selector:
    matchLabels: {{ include "spindle.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .name }}
  template:
    metadata:
      labels: {{ include "spindle.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .name }}
    spec:
      serviceAccountName: {{ .root.Release.Name }}
      {{- include "spindle.pod" . | nindent 6 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels: {{ include "spindle.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{ include "spindle.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .name }}
{{- end }}
