{{- /* Made by scripts/chart from the code: edit the code. */ -}}
{{- define "hatchway.pods" -}}
{{- dict "image" (.Values.replicas.image | default .Values.image) "pull_policy" .Values.imagePullPolicy "pull_secrets" .Values.imagePullSecrets "python" .Values.python "package_dir" .Values.packageDir "pre_stop_s" .Values.replicas.preStopS "gpu_resource" .Values.replicas.gpuResource "node_selector" .Values.replicas.nodeSelector "tolerations" .Values.replicas.tolerations "spot" .Values.replicas.spot "cache_claim" .Values.replicas.cacheClaim "index_secret" .Values.replicas.indexSecret | toJson -}}
{{- end -}}
