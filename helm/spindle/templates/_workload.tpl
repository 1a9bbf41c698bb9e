{{/*
A Deployment and its disruption budget. Takes the pod's dict (_pod.tpl) and, where needed:
  scaled    something else says how many (an HPA, KEDA): the Deployment says nothing, or each upgrade would reset it
  together  how many pods may be away at once (1); for those that hold a GPU, which the old pod has to give back first
*/}}
{{- define "spindle.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata: {{ include "spindle.metadata" (dict "root" .root "component" .component "annotations" .spec.annotations) | nindent 2 }}
spec:
  {{- if not .scaled }}
  replicas: {{ int (hasKey .spec "replicas" | ternary .spec.replicas 1) }}
  {{- end }}
  {{- with .together }}
  progressDeadlineSeconds: {{ add ($.grace | int) 1200 }}  # the old pod's checkpoint, then a node with a GPU
  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: {{ . }}}}
  {{- end }}
  selector:
    matchLabels: {{ include "spindle.componentSelector" . | nindent 6 }}
  template:
    metadata: {{ include "spindle.podMetadata" . | nindent 6 }}
    spec:
      serviceAccountName: {{ .root.Release.Name }}
      {{- include "spindle.pod" . | nindent 6 }}
---
{{ include "spindle.budget" . }}
{{- end }}

{{/*
How many pods of a component a drain may take at once. Never minAvailable: with one replica that would hold up a
node's drain for ever.
*/}}
{{- define "spindle.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{ include "spindle.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  maxUnavailable: {{ .together | default 1 }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{ include "spindle.componentSelector" . | nindent 6 }}
{{- end }}

{{/* The port and probes of worker, serve and beat: a pulse older than a minute, or an ear gone deaf, and it is restarted. */}}
{{- define "spindle.watched" -}}
ports:
  - {name: metrics, containerPort: 9464}
startupProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 10
{{- end }}
