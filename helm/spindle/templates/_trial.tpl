{{/*
Servers for trying out: a Service and a StatefulSet of one pod with one volume. Takes a dict:
  root       the chart
  component  postgres, redis, seaweedfs
  port       where it listens
  user, group  who it is in its image
  mount      where its volume goes
  writable   other folders that it writes to
  container  YAML: command, args, env, probes
*/}}
{{- define "spindle.trialServer" -}}
{{- $spec := index .root.Values.trial .component }}
apiVersion: v1
kind: Service
metadata: {{ include "spindle.metadata" . | nindent 2 }}
spec:
  selector: {{ include "spindle.componentSelector" . | nindent 4 }}
  ports:
    - {name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{ include "spindle.metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ .root.Release.Name }}-{{ .component }}
  selector:
    matchLabels: {{ include "spindle.componentSelector" . | nindent 6 }}
  template:
    metadata: {{ include "spindle.podMetadata" (dict "root" .root "component" .component "spec" dict) | nindent 6 }}
    spec:
      serviceAccountName: {{ .root.Release.Name }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      {{- with include "spindle.pullSecrets" .root | trim }}{{ . | nindent 6 }}{{ end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .user }}
        runAsGroup: {{ .group }}
        fsGroup: {{ .group }}
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ .component }}
          image: {{ include "spindle.image" (dict "root" .root "image" $spec.image) | quote }}
          imagePullPolicy: {{ .root.Values.images.pullPolicy }}
          ports:
            - {name: {{ .component }}, containerPort: {{ .port }}}
          {{- .container | nindent 10 }}
          securityContext: {{ include "spindle.containerSecurity" .root | nindent 12 }}
          resources: {{ toYaml $spec.resources | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: {{ .mount }}}
            {{- range $number, $folder := .writable }}
            - {name: writable-{{ $number }}, mountPath: {{ $folder }}}
            {{- end }}
      volumes:
        {{- range $number, $folder := .writable }}
        - name: writable-{{ $number }}
          emptyDir: {sizeLimit: 1Gi}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
        labels: {{ include "spindle.componentSelector" . | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .root.Values.trial.storageClass }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources: {requests: {storage: {{ $spec.size }}}}
{{- end }}

{{/* One of the probes of a server, from what it does, as all three. Takes the YAML of the handler. */}}
{{- define "spindle.trialProbes" -}}
startupProbe: {{ . | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 90
readinessProbe: {{ . | nindent 2 }}
  timeoutSeconds: 5
livenessProbe: {{ . | nindent 2 }}
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{/*
With servers for trying out, the migration cannot run before the release: the servers are part of it. So each pod makes
sure of the tables itself before it starts: it waits for the servers and migrates, which any number may do at once.
Takes the pod's dict (_pod.tpl).
*/}}
{{- define "spindle.trialInit" -}}
{{- if .root.Values.trial.enabled }}
initContainers:
  - name: migrate
    image: {{ include "spindle.image" (dict "root" .root "name" .image "image" (index .root.Values.images .image)) | quote }}
    imagePullPolicy: {{ .root.Values.images.pullPolicy }}
    args: [python, -m, core.migrate, --wait, "600"]
    env: {{ include "spindle.env" .root | nindent 6 }}
      - name: SPINDLE_FIRST_KEY
        valueFrom: {secretKeyRef: {{ include "spindle.secretRef" (dict "root" .root "part" "firstKey") }}}
    securityContext: {{ include "spindle.containerSecurity" .root | nindent 6 }}
    resources: {{ toYaml .root.Values.migrate.resources | nindent 6 }}
    volumeMounts:
      - {name: state, mountPath: /state}
      - {name: tmp, mountPath: /tmp}
      {{- if .root.Values.baseModels.claim }}
      - {name: base-models, mountPath: /models, readOnly: true}
      {{- end }}
{{- end }}
{{- end }}
