{{/*
What KEDA asks the database. Numbers of pods, on one line; tests/deploy/test_queries.py runs the very text.
Kinds and queues are words that values.schema.json lets through: they hold no quote.
*/}}

{{/*
Units of a pool that run, and those that a worker could start now: neither paused, nor waiting for a retry, nor for
another that makes the same, nor more than a project may run at once. Takes a pool. A unit of a gang is as many pods.
*/}}
{{- define "spindle.unitsQuery" -}}
{{- $kinds := .kinds | default (splitList " " (include "spindle.kinds" .)) }}
{{- $terms := list
  "unit.state IN ('running', 'pending')"
  (printf "unit.kind IN ('%s')" (join "', '" $kinds))
  (printf "unit.queue IN ('%s')" (join "', '" (.queues | default (list "default")))) }}
{{- $fits := list
  "unit.state = 'pending'"
  "(unit.not_before IS NULL OR unit.not_before <= now())"
  "(unit.job_id IS NULL OR (job.state IN ('queued', 'running') AND NOT job.pause_requested AND NOT job.cancel_requested))"
  "NOT EXISTS (SELECT 1 FROM unit AS twin WHERE twin.content_key = unit.content_key AND twin.state = 'running')" }}
{{- if not (int .gpus) }}{{ $terms = append $terms "unit.device = 'cpu'" }}{{ end }}
{{- with .gpuMemory }}{{ $terms = append $terms (printf "unit.memory_bytes <= %d" (include "spindle.gpuBytes" . | int64)) }}{{ end }}
{{- $own := list
  "SELECT count(*) FILTER (WHERE unit.state = 'running') AS running,"
  (printf "count(*) FILTER (WHERE %s) AS ready," (join " AND " $fits))
  "COALESCE(project.max_running - (SELECT count(*) FROM unit AS held WHERE held.state = 'running' AND held.project_id = project.id), 2147483647) AS more"
  "FROM unit LEFT JOIN job ON job.id = unit.job_id LEFT JOIN project ON project.id = unit.project_id"
  (printf "WHERE %s" (join " AND " $terms))
  "GROUP BY project.id" }}
{{- printf "SELECT CAST(%d * COALESCE(SUM(running + LEAST(ready, GREATEST(more, 0))), 0) AS bigint) FROM (%s) AS own" (int (.nodes | default 1)) (join " " $own) }}
{{- end }}

{{/* Pictures that are drawn or wait to be. */}}
{{- define "spindle.drawingsQuery" -}}
SELECT CAST(COALESCE(SUM(pictures), 0) AS bigint) FROM drawing WHERE state = 'running' OR (state = 'pending' AND (deadline_at IS NULL OR deadline_at > now()))
{{- end }}

{{- define "spindle.kinds" -}}
ingest encode generate train evaluate publish export import
{{- end }}

{{/* "24GB" in bytes, as the worker's --memory reads it: everybody who sells memory means 2^30 by GB. */}}
{{- define "spindle.gpuBytes" -}}
{{ mul (trimSuffix "GB" . | int64) 1073741824 }}
{{- end }}
