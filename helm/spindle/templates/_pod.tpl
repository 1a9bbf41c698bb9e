{{/*
The pod of one component: its spec. Takes a dict:
  root       the chart
  component  api, beat, serve, migrate, worker-POOL
  image      api, worker or serve
  args       the command
  spec       the component's values: resources, gpus, shm, disk, env, where it may run
  container  YAML of more in the container: ports, probes, lifecycle
  env        YAML of more environment
  grace      seconds between SIGTERM and SIGKILL (30)
  restart    Always, or Never
*/}}
{{- define "spindle.pod" -}}
{{- $root := .root }}
{{- $c2pa := and (eq .component "serve") .root.Values.secrets.c2pa.name }}
restartPolicy: {{ .restart | default "Always" }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace | default 30 }}
{{- include "spindle.pullSecrets" $root }}
{{- include "spindle.placement" . }}
securityContext: {{ include "spindle.podSecurity" $root | nindent 2 }}
{{- include "spindle.trialInit" . }}
containers:
  - name: spindle
    image: {{ include "spindle.image" (dict "root" $root "name" .image "image" (index $root.Values.images .image)) | quote }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    args: {{ toJson .args }}
    env: {{ include "spindle.env" $root | nindent 6 }}
      {{- if not (has .component (list "api" "migrate")) }}
      - {name: SPINDLE_METRICS_PORT, value: "9464"}
      {{- end }}
      {{- with .env }}{{ . | nindent 6 }}{{ end }}
      {{- if $c2pa }}
      - {name: SPINDLE_C2PA_KEY, value: /c2pa/key.pem}
      - {name: SPINDLE_C2PA_CERTIFICATES, value: /c2pa/certificates.pem}
      {{- end }}
      {{- with .spec.env }}{{ toYaml . | nindent 6 }}{{ end }}
    securityContext: {{ include "spindle.containerSecurity" $root | nindent 6 }}
    resources: {{ include "spindle.resources" .spec | nindent 6 }}
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
      {{- if $c2pa }}
      - {name: c2pa, mountPath: /c2pa, readOnly: true}
      {{- end }}
volumes:
  - name: state
    emptyDir: { {{- with .spec.disk }}sizeLimit: {{ . }}{{ end -}} }
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
  {{- with .spec.shm }}
  - name: shm  # counts as memory of the container
    emptyDir: {medium: Memory, sizeLimit: {{ . }}}
  {{- end }}
  {{- with $root.Values.baseModels.claim }}
  - name: base-models
    persistentVolumeClaim: {claimName: {{ . | quote }}, readOnly: true}
  {{- end }}
  {{- if $c2pa }}
  {{- with $root.Values.secrets.c2pa }}
  - name: c2pa
    secret:
      secretName: {{ .name | quote }}
      items: [{key: {{ .key | quote }}, path: key.pem}, {key: {{ .certificates | quote }}, path: certificates.pem}]
  {{- end }}
  {{- end }}
{{- end }}

{{/* The labels and annotations of a pod. Takes the pod's dict. */}}
{{- define "spindle.podMetadata" -}}
labels: {{ include "spindle.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with .spec.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with .spec.podAnnotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Which nodes a pod may use, and which it would rather. Takes the pod's dict. gpuProduct is the label that NVIDIA's GPU
feature discovery gives a node. A constraint of topologySpreadConstraints without a selector is about the component.
*/}}
{{- define "spindle.placement" -}}
{{- $selector := merge (deepCopy (.spec.nodeSelector | default dict)) (.spec.gpuProduct | empty | ternary dict (dict "nvidia.com/gpu.product" .spec.gpuProduct)) }}
{{- with $selector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .spec.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- if .spec.affinity }}
affinity: {{ toYaml .spec.affinity | nindent 2 }}
{{- else if gt (int .spec.nodes) 1 }}
affinity:
  podAffinity:  # a gang talks all the time
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector: {matchLabels: {{ include "spindle.componentSelector" . | fromYaml | toJson }}}
{{- end }}
{{- with .spec.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .spec.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $own := dict "matchLabels" (include "spindle.componentSelector" $ | fromYaml) }}
  - {{ toYaml (merge (deepCopy .) (dict "labelSelector" $own)) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What a container takes of its node. GPUs are limits; what it writes to /state is asked of the node's disk. */}}
{{- define "spindle.resources" -}}
{{- $requests := deepCopy ((.resources | default dict).requests | default dict) }}
{{- $limits := deepCopy ((.resources | default dict).limits | default dict) }}
{{- with .gpus }}
{{- $_ := set $limits ($.gpuResource | default "nvidia.com/gpu") (int .) }}
{{- end }}
{{- if and .disk (not (hasKey $requests "ephemeral-storage")) }}
{{- $_ := set $requests "ephemeral-storage" .disk }}
{{- end }}
{{- $asked := dict }}
{{- if $requests }}{{ $_ := set $asked "requests" $requests }}{{ end }}
{{- if $limits }}{{ $_ := set $asked "limits" $limits }}{{ end }}
{{- toYaml $asked }}
{{- end }}
