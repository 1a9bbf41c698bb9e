{{/* The beginning of a NetworkPolicy. Takes a dict: root, name, and where wanted annotations. */}}
{{- define "spindle.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{ include "spindle.named" . | nindent 2 }}
{{- end }}

{{/* A rule of egress. Takes a dict: ports (numbers), to (peers; anywhere, when empty), and where wanted udp. */}}
{{- define "spindle.egress" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ int . }}}
    {{- if $.udp }}
    - {protocol: UDP, port: {{ int . }}}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The peer that is one component of this release. Takes a dict: root, component. */}}
{{- define "spindle.peer" -}}
- podSelector:
    matchLabels: {{ include "spindle.componentSelector" . | nindent 6 }}
{{- end }}

{{/* Names, database, queue and store: what every part of the platform reaches, the migration included. */}}
{{- define "spindle.egressServers" -}}
{{- $policy := .Values.networkPolicy }}
{{- include "spindle.egress" (dict "ports" $policy.dns.ports "to" $policy.dns.to "udp" true) }}
{{- if .Values.trial.enabled }}
{{- range $component, $port := dict "postgres" 5432 "redis" 6379 "seaweedfs" 8333 }}
{{ include "spindle.egress" (dict "ports" (list $port) "to" (include "spindle.peer" (dict "root" $ "component" $component) | fromYamlArray)) }}
{{- end }}
{{- else }}
{{- range list $policy.database $policy.broker $policy.store }}
{{ include "spindle.egress" . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The internet, and the networks of ours that webhooks may reach as well. */}}
{{- define "spindle.webhookPeers" -}}
- ipBlock: {cidr: 0.0.0.0/0, except: {{ toJson .Values.networkPolicy.webhooks.except }}}
- ipBlock: {cidr: "::/0", except: ["fc00::/7", "fe80::/10"]}
{{- range splitList "," (.Values.settings.webhook_networks | default "") }}
{{- with trim . }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
