{{/*
What the schema cannot say. Each check adds sentences, one a line; all of them are told at once. They take the chart,
or where they say so a dict: root, pool.
*/}}
{{- define "spindle.check" -}}
{{- $said := include "spindle.checkPools" . }}
{{- range $pool := .Values.workers }}
{{- $said = printf "%s\n%s" $said (include "spindle.checkPool" (dict "root" $ "pool" $pool)) }}
{{- end }}
{{- $said = printf "%s\n%s\n%s" $said (include "spindle.checkAutoscaling" .) (include "spindle.checkKeda" .) }}
{{- $wrong := list }}
{{- range splitList "\n" $said }}{{ with trim . }}{{ $wrong = append $wrong . }}{{ end }}{{ end }}
{{- if $wrong }}{{ fail (printf "\n%s\n" (join "\n" $wrong)) }}{{ end }}
{{- end }}

{{/* The pools together: one of each name, and for each queue somebody for each kind. */}}
{{- define "spindle.checkPools" -}}
{{- $names := list }}
{{- $queues := dict "default" list }}
{{- range .Values.workers }}
{{- if has .name $names }}
workers: two pools are named {{ .name }}; give each a name of its own.
{{- end }}
{{- $names = append $names .name }}
{{- $kinds := .kinds | default (splitList " " (include "spindle.kinds" $)) }}
{{- range .queues | default (list "default") }}
{{- $_ := set $queues . (concat (get $queues . | default list) $kinds) }}
{{- end }}
{{- end }}
{{- if not .Values.workersElsewhere }}
{{- range $queue, $kinds := $queues }}
{{- $needed := list "encode" "generate" "train" "evaluate" "publish" }}
{{- if eq $queue "default" }}{{ $needed = splitList " " (include "spindle.kinds" $) }}{{ end }}
{{- $missing := list }}
{{- range $needed }}{{ if not (has . $kinds) }}{{ $missing = append $missing . }}{{ end }}{{ end }}
{{- if $missing }}
workers: no pool claims {{ join ", " $missing }} on queue {{ $queue }}, and what needs it would wait for ever; add the kinds to a pool that serves {{ $queue }}, or say workersElsewhere: true if workers outside of this release do them.
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* One pool. Takes a dict: root, pool. */}}
{{- define "spindle.checkPool" -}}
{{- $pool := .pool }}
{{- $what := printf "workers: pool %s" $pool.name }}
{{- $scaled := hasKey $pool "max" }}
{{- $nodes := max 1 (int $pool.nodes) }}
{{- if and $scaled (hasKey $pool "replicas") }}
{{ $what }} has replicas and max; give replicas for a fixed number of workers, or min and max for KEDA.
{{- end }}
{{- if and (hasKey $pool "min") (not $scaled) }}
{{ $what }} has min and no max; give the most workers that it may have as max, or a fixed number as replicas.
{{- end }}
{{- if and $scaled (gt (int $pool.min) (int $pool.max)) }}
{{ $what }} has min {{ int $pool.min }} above max {{ int $pool.max }}; raise max or lower min.
{{- end }}
{{- if and $scaled (eq .root.Values.autoscaling.mode "none") }}
{{ $what }} has max while autoscaling.mode is none, so nothing would scale it; set autoscaling.mode to scaledObject or scaledJob, or give replicas.
{{- end }}
{{- if gt $nodes 1 }}
{{- range $key := list "replicas" "min" "max" }}
{{- if and (hasKey $pool $key) (mod (int (get $pool $key)) $nodes) }}
{{ $what }} has {{ $key }} {{ int (get $pool $key) }}, which is no multiple of its nodes, {{ $nodes }}: workers left over would never train; a gang is {{ $nodes }} pods.
{{- end }}
{{- end }}
{{- if not (hasKey $pool "replicas" | or $scaled) }}
{{ $what }} has nodes {{ $nodes }} and one worker; give replicas: {{ $nodes }} for each gang.
{{- end }}
{{- if ne (join "," $pool.kinds) "train" }}
{{ $what }} has nodes {{ $nodes }}, which only trainings use; set kinds: [train] and let another pool do the rest.
{{- end }}
{{- if and $scaled (eq .root.Values.autoscaling.mode "scaledJob") }}
{{ $what }} has nodes {{ $nodes }}, and a ScaledJob makes one pod a unit; give it replicas, or use autoscaling.mode scaledObject.
{{- end }}
{{- end }}
{{- if and (or $pool.gpuProduct $pool.gpuMemory $pool.gpuResource) (not (int $pool.gpus)) }}
{{ $what }} describes a GPU and takes none; give gpus: 1 or more, or leave out gpuProduct, gpuMemory and gpuResource.
{{- end }}
{{- if hasKey $pool "terminationGracePeriodSeconds" }}
{{- if lt (int $pool.terminationGracePeriodSeconds) (add (include "spindle.checkpoint" .root | int) 30 | int) }}
{{ $what }} is killed after {{ int $pool.terminationGracePeriodSeconds }} seconds, but settings.shutdown_grace_seconds lets a checkpoint take {{ include "spindle.checkpoint" .root }}, and it has to be uploaded; give terminationGracePeriodSeconds at least 30 more, or leave it out.
{{- end }}
{{- end }}
{{- include "spindle.checkSizes" (dict "root" .root "what" $what "spec" $pool) }}
{{- end }}

{{/* Memory and disk. Takes a dict: root, what (whose), spec. */}}
{{- define "spindle.checkSizes" -}}
{{- $limit := dig "resources" "limits" "memory" "" .spec }}
{{- if and .spec.shm $limit }}
{{- if ge (include "spindle.bytes" .spec.shm | int64) (include "spindle.bytes" $limit | int64) }}
{{ .what }} has shm {{ .spec.shm }}, which counts as memory of the pod, and limits.memory {{ $limit }}; raise limits.memory above what the process and shm take together.
{{- end }}
{{- end }}
{{- if .spec.disk }}
{{- $cache := hasKey .root.Values.settings "worker_cache_bytes" | ternary (int64 .root.Values.settings.worker_cache_bytes) 53687091200 }}
{{- if le (include "spindle.bytes" .spec.disk | int64) $cache }}
{{ .what }} has disk {{ .spec.disk }}, and settings.worker_cache_bytes, {{ $cache }}, fills it: the pod would be evicted; raise disk, or lower worker_cache_bytes.
{{- end }}
{{- end }}
{{- end }}

{{/* What scales api and serve. */}}
{{- define "spindle.checkAutoscaling" -}}
{{- $serve := .Values.serve.autoscaling }}
{{- range $part, $scaling := dict "api" .Values.api.autoscaling "serve" $serve }}
{{- if and $scaling.enabled (gt (int $scaling.min) (int $scaling.max)) }}
{{ $part }}.autoscaling has min {{ int $scaling.min }} above max {{ int $scaling.max }}; raise max or lower min.
{{- end }}
{{- end }}
{{- if and $serve.enabled (ne $serve.metric "waiting") (not (int $serve.min)) }}
serve.autoscaling has min 0, which only metric waiting can come back from; give min: 1 or more.
{{- end }}
{{- if and $serve.enabled (eq $serve.metric "cpu") (int .Values.serve.gpus) }}
serve.autoscaling has metric cpu, but serve draws on a GPU, of which the processor tells nothing; use waiting or external, or gpus: 0.
{{- end }}
{{- if and $serve.enabled (eq $serve.metric "external") (not $serve.external.name) }}
serve.autoscaling has metric external and no name; give external.name, a metric of external.metrics.k8s.io that counts waiting pictures.
{{- end }}
{{- if and $serve.enabled (eq $serve.metric "cpu") (not (dig "resources" "requests" "cpu" "" .Values.serve)) }}
serve.autoscaling has metric cpu, a part of what is requested; give serve.resources.requests.cpu.
{{- end }}
{{- if and .Values.api.autoscaling.enabled (not (dig "resources" "requests" "cpu" "" .Values.api)) }}
api.autoscaling compares with what is requested; give api.resources.requests.cpu.
{{- end }}
{{- include "spindle.checkSizes" (dict "root" . "what" "serve" "spec" .Values.serve) }}
{{- end }}

{{/* "yes" when KEDA is to scale a pool. */}}
{{- define "spindle.scaledPools" -}}
{{- range .Values.workers }}{{ if hasKey . "max" }}yes{{ end }}{{ end }}
{{- end }}

{{/*
KEDA is there. What a cluster has is known only with one: every cluster has apiregistration.k8s.io, which Helm's own
list for rendering without a cluster has not.
*/}}
{{- define "spindle.checkKeda" -}}
{{- $serve := and .Values.serve.autoscaling.enabled (eq .Values.serve.autoscaling.metric "waiting") }}
{{- $wanted := or $serve (ne .Values.autoscaling.mode "none") }}
{{- $known := .Capabilities.APIVersions.Has "apiregistration.k8s.io/v1" }}
{{- if and $wanted $known (not (.Capabilities.APIVersions.Has "keda.sh/v1alpha1")) }}
autoscaling: this cluster has no KEDA (keda.sh/v1alpha1); install it first, or set autoscaling.mode: none and serve.autoscaling.metric to external.
{{- end }}
{{- range .Values.workers }}
{{- $name := printf "%s-worker-%s" $.Release.Name .name }}
{{- if gt (len $name) 57 }}
workers: pool {{ .name }} makes the name {{ $name }}, longer than the 57 characters of which names of pods can be made; shorten the pool's or the release's.
{{- end }}
{{- end }}
{{- end }}
