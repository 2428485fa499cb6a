output "user_name" {
  description = "Name of the CI user."
  value       = module.ci_user.user_name
}

output "user_arn" {
  description = "ARN of the CI user."
  value       = module.ci_user.user_arn
}

output "group_name" {
  description = "Name of the CI user's group of one, which carries the policies."
  value       = module.ci_user.group_name
}

output "policy_arns" {
  description = "ARNs of the CI user's managed policies, by policy name."
  value       = { for name, policy in module.ci_policy : name => policy.arn }
}

output "boundary_arn" {
  description = "ARN of the CI user's permissions boundary."
  value       = module.ci_user.boundary_arn
}

output "role_boundary_arn" {
  description = "ARN of the permissions boundary that every role made by the pipeline must have."
  value       = module.ci_user.role_boundary_arn
}
