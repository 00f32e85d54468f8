{{/* Name of the chart, as it stands in labels. */}}
{{- define "finetune-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the objects: the release's, which says what runs where unless it already names the chart. */}}
{{- define "finetune-operator.fullname" -}}
{{- $name := include "finetune-operator.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What never changes in the life of a release: selectors are immutable. */}}
{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "finetune-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "finetune-operator.labels" -}}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Metadata of an object in the release's namespace. */}}
{{- define "finetune-operator.metadata" -}}
name: {{ include "finetune-operator.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "finetune-operator.labels" . | nindent 2 }}
{{- end -}}

{{/* Image of the operator: a digest wins over a tag. */}}
{{- define "finetune-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "finetune-operator.serviceAccountName" -}}
{{- default (include "finetune-operator.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The rights that the operator declares itself; `make generate` writes the file from its code. */}}
{{- define "finetune-operator.rules" -}}
{{- get (.Files.Get "files/rules.yaml" | fromYaml) "jobs" | toYaml -}}
{{- end -}}

{{/* Rights on the lease. It is named for the release, so that two releases never share one. */}}
{{- define "finetune-operator.leaseRules" -}}
{{- $rules := get (.Files.Get "files/rules.yaml" | fromYaml) "lease" -}}
{{- range $rule := $rules -}}
  {{- if $rule.resourceNames -}}
    {{- $_ := set $rule "resourceNames" (list (include "finetune-operator.fullname" $)) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}

{{/* The operator's account, as the one subject of a binding. */}}
{{- define "finetune-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "finetune-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
