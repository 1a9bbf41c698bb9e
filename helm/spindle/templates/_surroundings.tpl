{{/*
What surrounds the platform: where secrets are, which addresses it has, whom its parts may reach.
*/}}

{{/* The Secret with all addresses and the first key, where no part has one of its own. */}}
{{- define "spindle.secret" -}}
{{- if .Values.trial.enabled -}}
{{ .Release.Name }}-trial
{{- else -}}
{{ .Values.existingSecret }}
{{- end }}
{{- end }}

{{/* The name of the Secret of one part. Takes a dict: root, part (database, broker, store, firstKey). */}}
{{- define "spindle.secretName" -}}
{{ (index .root.Values.secrets .part).name | default (include "spindle.secret" .root) }}
{{- end }}

{{/* The key in it. */}}
{{- define "spindle.secretKey" -}}
{{ (index .root.Values.secrets .part).key }}
{{- end }}

{{/* Both, as a secretKeyRef. */}}
{{- define "spindle.secretRef" -}}
{name: {{ include "spindle.secretName" . | quote }}, key: {{ include "spindle.secretKey" . | quote }}}
{{- end }}

{{/* Refuses values that are each right and together wrong, in a sentence. */}}
{{- define "spindle.checkSecrets" -}}
{{- $values := .Values }}
{{- range $part := list "database" "broker" "store" "firstKey" }}
{{- $name := (index $values.secrets $part).name }}
{{- if and $values.trial.enabled $name }}
{{- fail (printf "secrets.%s.name: trial.enabled brings servers and a Secret of its own; leave this name empty, or turn the trial off" $part) }}
{{- end }}
{{- if not (or $values.trial.enabled $name $values.existingSecret) }}
{{- fail (printf "existingSecret: name a Secret with SPINDLE_DATABASE_URL, SPINDLE_BROKER_URL, SPINDLE_STORE_URL and SPINDLE_FIRST_KEY (there is none for secrets.%s), or set trial.enabled to try Spindle out" $part) }}
{{- end }}
{{- end }}
{{- if and .Values.trial.enabled .Values.existingSecret }}
{{- fail "existingSecret: trial.enabled brings servers and a Secret of its own; leave existingSecret empty, or turn the trial off" }}
{{- end }}
{{- end }}

{{/* The host of settings.public_url, without its port. */}}
{{- define "spindle.publicHost" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.settings.public_url).host "" }}
{{- end }}

{{/*
The hosts under which the API is offered, as a JSON list. Takes a dict: root, name (of the value), hosts. Without the
host of public_url people could not sign in: pages refuse forms that come from another address.
*/}}
{{- define "spindle.hosts" -}}
{{- $public := include "spindle.publicHost" .root }}
{{- if or (regexMatch "^[0-9.]+$" $public) (hasPrefix "[" $public) }}
{{- fail (printf "settings.public_url: %s is an address; an Ingress or HTTPRoute serves names" $public) }}
{{- end }}
{{- $wild := regexReplaceAll "^[^.]+" $public "*" }}
{{- if and .hosts (not (or (has $public .hosts) (has $wild .hosts))) }}
{{- fail (printf "%s: the host of settings.public_url (%s) is not among them, so links would lead nowhere and nobody could sign in" .name $public) }}
{{- end }}
{{- toJson (.hosts | default (list $public)) }}
{{- end }}

{{/* The port of a URL, as a number. */}}
{{- define "spindle.port" -}}
{{- $url := urlParse . }}
{{- $told := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $told | default (eq $url.scheme "https" | ternary "443" "80") }}
{{- end }}

{{/* The components of the platform that stay, as a JSON list. The migration comes and goes. */}}
{{- define "spindle.components" -}}
{{- $found := list "api" "beat" "serve" }}
{{- range .Values.workers }}{{ $found = append $found (printf "worker-%s" .name) }}{{ end }}
{{- toJson $found }}
{{- end }}

{{/* A selector of several components' pods. Takes a dict: root, components (a list). */}}
{{- define "spindle.componentsSelector" -}}
matchLabels: {{ include "spindle.selector" .root | nindent 2 }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end }}

{{/* Metadata of an object that is about no single component. Takes a dict: root, name, and where wanted labels, annotations. */}}
{{- define "spindle.named" -}}
name: {{ .root.Release.Name }}-{{ .name }}
labels: {{ include "spindle.labels" .root | nindent 2 }}
  {{- with .labels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with .annotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
