{{/* How a pool of workers is started, and who says how many there are. All take a pool, unless they say otherwise. */}}

{{- define "spindle.poolArgs" -}}
{{- $args := list "python" "-m" "worker" "units" }}
{{- with .kinds }}{{ $args = concat $args (list "--kinds" (join "," .)) }}{{ end }}
{{- with .queues }}{{ $args = concat $args (list "--queues" (join "," .)) }}{{ end }}
{{- with .gpuMemory }}{{ $args = concat $args (list "--memory" .) }}{{ end }}
{{- if gt (int .nodes) 1 }}{{ $args = concat $args (list "--nodes" (toString (int .nodes)) "--address" "$(POD_IP)") }}{{ end }}
{{- toJson $args }}
{{- end }}

{{- define "spindle.poolEnv" -}}
{{- if gt (int .nodes) 1 -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- end }}
{{- end }}

{{/* none: replicas say; scaledObject or scaledJob: KEDA does. Takes a dict: root, pool. */}}
{{- define "spindle.poolMode" -}}
{{- hasKey .pool "max" | ternary .root.Values.autoscaling.mode "none" }}
{{- end }}

{{/* Seconds between SIGTERM, which drains a worker, and SIGKILL. Takes a dict: root, pool. */}}
{{- define "spindle.poolGrace" -}}
{{ .pool.terminationGracePeriodSeconds | default (include "spindle.grace" .root) }}
{{- end }}

{{/* The postgresql trigger of KEDA. Takes a dict: root, query, target (what one pod is for). */}}
{{- define "spindle.trigger" -}}
- type: postgresql
  metadata:
    query: {{ .query | quote }}
    targetQueryValue: {{ .target | quote }}
  authenticationRef: {name: {{ .root.Release.Name }}-database}
{{- end }}

{{/*
A ScaledObject over a Deployment of the same name. Takes a dict: root, component, min, max, query, target, step (pods
that come and go together). Its HPA has its name: KEDA's own prefix makes it too long for a label.
*/}}
{{- define "spindle.scaledObject" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{ include "spindle.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ .root.Release.Name }}-{{ .component }}}
  pollingInterval: {{ int .root.Values.autoscaling.pollingSeconds }}
  cooldownPeriod: {{ int .root.Values.autoscaling.cooldownSeconds }}
  minReplicaCount: {{ int .min }}
  maxReplicaCount: {{ int .max }}
  advanced:
    horizontalPodAutoscalerConfig:
      name: {{ .root.Release.Name }}-{{ .component }}
      behavior:
        scaleUp:
          policies: [{type: Pods, value: {{ int .max }}, periodSeconds: 15}]
        scaleDown:
          stabilizationWindowSeconds: {{ int .root.Values.autoscaling.cooldownSeconds }}
          policies: [{type: Pods, value: {{ int .step }}, periodSeconds: 60}]
  triggers: {{ include "spindle.trigger" . | nindent 4 }}
{{- end }}

{{/*
A HorizontalPodAutoscaler over a Deployment of the same name. Takes a dict: root, component, scaling (min, max), and
metric (YAML of one).
*/}}
{{- define "spindle.hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{ include "spindle.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .root.Release.Name }}-{{ .component }}}
  minReplicas: {{ int .scaling.min }}
  maxReplicas: {{ int .scaling.max }}
  behavior:
    scaleDown: {stabilizationWindowSeconds: {{ int .root.Values.autoscaling.cooldownSeconds }}}
  metrics: {{ .metric | nindent 4 }}
{{- end }}

{{- define "spindle.cpuMetric" -}}
- type: Resource
  resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ int . }}}}
{{- end }}
