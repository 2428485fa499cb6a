output "user_name" {
  description = "Name of the CI user."
  value       = aws_iam_user.this.name
}

output "user_arn" {
  description = "ARN of the CI user."
  value       = "${local.arn_start}:user/${local.name}"
  depends_on  = [aws_iam_user.this]
}

output "group_name" {
  description = "Name of the CI user's group of one."
  value       = aws_iam_group.this.name
}

output "policy_arns" {
  description = "ARNs of the managed policies that the group carries."
  value       = aws_iam_group_policy_attachments_exclusive.this.policy_arns
}

output "boundary_arn" {
  description = "ARN of the CI user's permissions boundary."
  value       = local.boundary_arn
  depends_on  = [aws_iam_policy.boundary]
}

output "role_boundary_arn" {
  description = "ARN of the permissions boundary for roles that the pipeline makes."
  value       = local.role_boundary_arn
  depends_on  = [aws_iam_policy.role_boundary]
}
