variable "account_id" {
  description = "Account that everything is made in, 12 digits."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "The account id has 12 digits."
  }
}

variable "partition" {
  description = "Partition of every ARN: aws, aws-us-gov or aws-cn."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["aws", "aws-us-gov", "aws-cn"], var.partition)
    error_message = "The partition is aws, aws-us-gov or aws-cn."
  }
}

variable "prefix" {
  description = "APPLICATION-ENVIRONMENT: lower case letters, digits and single hyphens, at most 53 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)+$", var.prefix))
    error_message = "The prefix is APPLICATION-ENVIRONMENT: lower case letters, digits and single hyphens."
  }

  validation {
    condition     = length(var.prefix) <= 53
    error_message = "The prefix has at most 53 characters: 32 of the application, a hyphen, 20 of the environment."
  }
}

variable "policy_arns" {
  description = "ARNs of the managed policies for the group, by any name: 1 to 10, known when planning."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.policy_arns) >= 1 && length(var.policy_arns) <= 10
    error_message = "There are 1 to 10 policies: IAM attaches no more to a group."
  }

  validation {
    condition     = alltrue([for arn in values(var.policy_arns) : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", arn))])
    error_message = "A policy's ARN is written like arn:aws:iam::000000000000:policy/NAME."
  }

  validation {
    condition     = length(distinct(values(var.policy_arns))) == length(var.policy_arns)
    error_message = "Each policy is listed once."
  }

  validation {
    condition     = alltrue([for arn in values(var.policy_arns) : !can(regex("(?i)/(AdministratorAccess|PowerUserAccess|IAMFullAccess)[^/]*$", arn))])
    error_message = "A CI user is never an administrator."
  }

  validation {
    condition     = alltrue([for arn in values(var.policy_arns) : !can(regex("[.](role-)?boundary$", arn))])
    error_message = "A boundary limits the user and is never attached as a policy."
  }
}

variable "boundary" {
  description = "JSON document of the CI user's permissions boundary."
  type        = string
  nullable    = false

  validation {
    condition     = try(jsondecode(var.boundary).Version, "") == "2012-10-17" && try(length(jsondecode(var.boundary).Statement), 0) > 0
    error_message = "The boundary is JSON with Version 2012-10-17 and at least one Statement."
  }

  validation {
    condition     = length(replace(var.boundary, "/\\s/", "")) <= 6144
    error_message = "The boundary has at most 6,144 characters that are not white space."
  }
}

variable "role_boundary" {
  description = "JSON document of the permissions boundary for roles that the pipeline makes."
  type        = string
  nullable    = false

  validation {
    condition     = try(jsondecode(var.role_boundary).Version, "") == "2012-10-17" && try(length(jsondecode(var.role_boundary).Statement), 0) > 0
    error_message = "The role boundary is JSON with Version 2012-10-17 and at least one Statement."
  }

  validation {
    condition     = length(replace(var.role_boundary, "/\\s/", "")) <= 6144
    error_message = "The role boundary has at most 6,144 characters that are not white space."
  }
}

variable "tags" {
  description = "Tags of the user and the managed policies, at most 40; keys must not begin with aws: or ci-user:."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40
    error_message = "There are at most 40 tags."
  }

  validation {
    condition     = alltrue([for key in keys(var.tags) : !can(regex("^(?i:aws:|ci-user:)", key))])
    error_message = "The prefixes aws: and ci-user: are reserved."
  }

  validation {
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]{1,128}$", key))])
    error_message = "A tag's key has 1 to 128 letters, digits, spaces and _.:/=+-@."
  }

  validation {
    condition     = alltrue([for value in values(var.tags) : can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]{0,256}$", value))])
    error_message = "A tag's value has at most 256 letters, digits, spaces and _.:/=+-@."
  }
}

variable "inline_policy_names" {
  description = "Inline policies of the user that stay: ci-user-revocation, the deny of `invoke revoke`, while it is live. Terraform neither makes nor removes it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.inline_policy_names) <= 1 && alltrue([for name in var.inline_policy_names : name == "ci-user-revocation"])
    error_message = "No inline policy stays but the deny of a revocation."
  }
}
