{{/* What is missing or to be minded, a line each; nothing when all is well. For NOTES.txt. */}}
{{- define "spindle.warnings" -}}
{{- $url := urlParse .Values.settings.public_url }}
{{- $outside := not (has (include "spindle.publicHost" .) (list "localhost" "127.0.0.1" "[::1]")) }}
{{- if .Values.workersElsewhere }}
{{- $missing := splitList " " (include "spindle.kinds" .) }}
{{- range .Values.workers }}
{{- if has "default" (.queues | default (list "default")) }}
{{- range .kinds | default $missing }}{{ $missing = without $missing . }}{{ end }}
{{- end }}
{{- end }}
{{- with $missing }}
- Left to workers elsewhere on the queue default: {{ join ", " . }}.
{{- end }}
{{- end }}
{{- if and (eq (int .Values.serve.replicas) 0) (not .Values.serve.autoscaling.enabled) }}
- serve.replicas is 0: nothing draws pictures.
{{- end }}
{{- if and $outside (eq $url.scheme "http") }}
- {{ .Values.settings.public_url }} is without TLS: keys and pictures cross the network in the clear.
{{- end }}
{{- if and .Values.ingress.enabled (eq $url.scheme "https") (not .Values.ingress.tls) }}
- ingress.tls is empty: something before the ingress has to hold the certificate.
{{- end }}
{{- if and $outside (not .Values.ingress.enabled) (not .Values.gateway.enabled) }}
- Neither ingress nor gateway is enabled: what leads {{ .Values.settings.public_url }} to {{ .Release.Name }}-api is yours to make.
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
- networkPolicy.enabled is false: every pod of the cluster reaches these{{ if .Values.trial.enabled }}, SeaweedFS's ports that ask for no key too{{ end }}.
{{- else if and (or .Values.ingress.enabled .Values.gateway.enabled) (not .Values.networkPolicy.api.from) }}
- networkPolicy.api.from is empty: nobody reaches the API, the controller before it neither.
{{- end }}
{{- if .Values.trial.enabled }}
- PostgreSQL, Redis and SeaweedFS of trial.enabled are for trying out: one pod each, no backup, no TLS between pods.
{{- end }}
{{- end }}

{{/* The pools, a line each. */}}
{{- define "spindle.pools" -}}
{{- range .Values.workers }}
  worker-{{ .name }}: {{ join ", " (.kinds | default (list "every kind of unit")) }}
  {{- with .queues }}; queues {{ join ", " . }}{{ end }}
  {{- with .gpus }}; {{ . }} GPU{{ if gt (int .) 1 }}s{{ end }} a pod{{ end }}
  {{- if gt (int (.nodes | default 1)) 1 }}; {{ .nodes }} pods train together{{ end }}
{{- end }}
{{- end }}
