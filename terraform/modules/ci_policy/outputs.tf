output "name" {
  description = "Name of the managed policy."
  value       = var.name
  depends_on  = [aws_iam_policy.this]
}

output "arn" {
  description = "ARN of the managed policy, known when planning; whatever uses it still waits for the policy."
  value       = local.arn
  depends_on  = [aws_iam_policy.this]
}

output "document" {
  description = "JSON document of the policy."
  value       = aws_iam_policy.this.policy
}
