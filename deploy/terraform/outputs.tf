output "webhook_url" {
  description = "Where Alertmanager delivers."
  value       = "http://${aws_instance.service.private_ip}:8080/webhook/alertmanager"
}

output "role_arn" {
  description = "For `smartcloudops audit reconcile --role`."
  value       = aws_iam_role.service.arn
}

output "audit_archive" {
  description = "For `smartcloudops audit verify --file`."
  value       = "s3://${aws_s3_bucket.audit.id}/${var.name}"
}

output "models_bucket" {
  value = aws_s3_bucket.models.id
}
