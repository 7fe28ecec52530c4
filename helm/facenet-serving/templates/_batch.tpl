{{/* The spec of a Job over a bucket: (list root job), one of `batch.jobs`. */}}
{{- define "facenet-serving.batch.spec" -}}
{{- $root := index . 0 -}}
{{- $job := index . 1 -}}
{{- $batch := $root.Values.batch -}}
{{- $s3 := $job.s3 | default dict -}}
{{- $url := printf "http://%s-serve-svc.%s.svc:8000" (include "facenet-serving.fullname" $root) $root.Release.Namespace -}}
{{- $command := list "faces" $job.kind $job.source "--out" $job.out "--url" $url "--errors-are-results"
      "--wait" (int64 $batch.waitSeconds | toString) "--region" ($s3.region | default $root.Values.s3.region) -}}
{{- with $s3.endpoint | default (include "facenet-serving.s3.endpoint" $root) -}}
{{- $command = concat $command (list "--endpoint" .) -}}
{{- end -}}
{{- $most := dig "limits" "max_image_bytes" "" ($root.Values.settings | default dict) -}}
{{- $options := $job.options | default dict -}}
{{- if $most -}}{{- $options = merge dict $options (dict "max-bytes" $most) -}}{{- end -}}
{{- range $name := keys $options | sortAlpha -}}
{{- $value := get $options $name -}}
{{- if kindIs "bool" $value -}}
{{- if $value -}}{{- $command = append $command (printf "--%s" $name) -}}{{- end -}}
{{- else if kindIs "string" $value -}}
{{- $command = append $command (printf "--%s=%s" $name $value) -}}
{{- else -}}
{{- /* Values are float64, and large ones of them 1e+06 as a text. */ -}}
{{- $whole := eq (float64 $value) (float64 (int64 $value)) -}}
{{- $command = append $command (printf "--%s=%s" $name (ternary (int64 $value | toString) (toString $value) $whole)) -}}
{{- end -}}
{{- end -}}
{{- $env := include "facenet-serving.s3.env" (list $root "jobs" ($s3.existingSecret | default "")) | trim -}}
{{- if and $root.Values.auth.enabled $job.keySecret -}}
{{- $env = printf "- name: FACES_KEY\n  valueFrom: {secretKeyRef: {name: %s, key: %s}}\n%s" (toYaml $job.keySecret.name) ($job.keySecret.key | default "key" | toYaml) $env -}}
{{- end -}}
{{- $container := dict "root" $root "name" "batch" "command" $command "pod" $batch.pod "resources" $batch.resources
    "env" $env "volumeMounts" (include "facenet-serving.s3.volumeMounts" $root | trim) -}}
{{ include "facenet-serving.jobSpec" (dict "root" $root "component" "batch" "pod" $batch.pod "containers" (list $container)
    "account" "batch" "stoppable" true "backoffLimit" $batch.backoffLimit
    "activeDeadlineSeconds" $batch.activeDeadlineSeconds "ttlSecondsAfterFinished" $batch.ttlSecondsAfterFinished) }}
{{- end -}}

{{- define "facenet-serving.validate.batch" -}}
{{- $name := include "facenet-serving.fullname" . -}}
{{- $options := dict
      "batch" (list "collection" "concurrency" "max-bytes" "max-faces" "part-photos" "threshold" "top-k")
      "enroll" (list "append" "basis" "collection" "concurrency" "date" "expires-at" "force" "max-bytes" "names" "part-people" "reference" "text-version") -}}
{{- $names := list -}}
{{- $outs := list -}}
{{- range $job := .Values.batch.jobs -}}
{{- $s3 := $job.s3 | default dict -}}
{{- $whole := printf "%s-%s-01234567" $name $job.name -}}
{{- if gt (len $whole) 63 -}}
{{- fail (printf "batch.jobs: the Job %s would have a name of %d characters, and more than 63 do not work; give it a shorter name." $job.name (len $whole)) -}}
{{- end -}}
{{- if has $job.name $names -}}
{{- fail (printf "batch.jobs: %q is there twice; give each Job a name of its own." $job.name) -}}
{{- end -}}
{{- $names = append $names $job.name -}}
{{- $out := printf "%s %s/" ($s3.endpoint | default "") (trimAll "/" $job.out) -}}
{{- if has $out $outs -}}
{{- fail (printf "batch.jobs: two Jobs have the results in %s; give each a place of its own." $job.out) -}}
{{- end -}}
{{- $outs = append $outs $out -}}
{{- range $own := list $.Values.s3.prefix $.Values.model.prefix -}}
{{- if and (not $s3.endpoint) (hasPrefix (printf "s3://%s/%s/" $.Values.s3.bucket (trimAll "/" $own)) (printf "%s/" (trimSuffix "/" $job.out))) -}}
{{- fail (printf "batch.jobs: the results of %s would be among the galleries or models, in %s; take another prefix or bucket." $job.name $job.out) -}}
{{- end -}}
{{- end -}}
{{- /* Thrice what is read at once, and 160 MiB: tests/bench/jobs.py shows it. A request of an enrolment has 32 MiB. */ -}}
{{- $photo := dig "max-bytes" (dig "limits" "max_image_bytes" 20971520 ($.Values.settings | default dict)) ($job.options | default dict) | int64 -}}
{{- $each := ternary (add $photo 33554432) $photo (eq $job.kind "enroll") | int64 -}}
{{- $once := dig "concurrency" (ternary 4 8 (eq $job.kind "enroll")) ($job.options | default dict) | int64 -}}
{{- $takes := add 167772160 (mul 3 $once $each) | int64 -}}
{{- $has := include "facenet-serving.bytes" (dig "limits" "memory" "0" $.Values.batch.resources) | int64 -}}
{{- if and (gt $has (int64 0)) (gt $takes $has) -}}
{{- fail (printf "batch.jobs: %s reads up to %d bytes %d times at once, which may take %d bytes, and batch.resources.limits.memory is %d; raise it, or lower the options concurrency or max-bytes." $job.name $each $once $takes $has) -}}
{{- end -}}
{{- range $option, $_ := $job.options -}}
{{- if not (has $option (get $options $job.kind)) -}}
{{- fail (printf "batch.jobs: %s is of kind %s, which has no option %s; it has %s." $job.name $job.kind $option (get $options $job.kind | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- if and $.Values.auth.enabled (not $job.keySecret) -}}
{{- fail (printf "batch.jobs: %s needs an API key of the scope %s: set its keySecret.name to a Secret with one." $job.name (ternary "enrol" "identify" (eq $job.kind "enroll"))) -}}
{{- end -}}
{{- $keys := or $s3.existingSecret (include "facenet-serving.s3.secret" $) $.Values.s3.workloadIdentity -}}
{{- if not (or $keys (include "facenet-serving.s3.role" (list $ "batch") | fromYaml)) -}}
{{- fail (printf "batch.jobs: %s has no keys for S3: set its s3.existingSecret, or serviceAccount.roles.batch." $job.name) -}}
{{- end -}}
{{- if and $s3.endpoint (not (regexMatch "^https?://([^/?#@:\\[\\]\\s]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?/?$" $s3.endpoint)) -}}
{{- fail (printf "batch.jobs: the s3.endpoint of %s is a URL like https://s3.example.com:9000, not %q." $job.name $s3.endpoint) -}}
{{- end -}}
{{- end -}}
{{- end -}}
