variable "name" {
  description = "Name of the managed policy, at most 128 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+[.]policy-[a-z0-9-]+$", var.name)) && length(var.name) <= 128
    error_message = "The name is PREFIX.policy-NAME, with at most 128 characters."
  }
}

variable "document" {
  description = "JSON document of the policy."
  type        = string
  nullable    = false

  validation {
    condition     = try(jsondecode(var.document).Version, "") == "2012-10-17" && try(length(jsondecode(var.document).Statement), 0) > 0
    error_message = "The policy is JSON with Version 2012-10-17 and at least one Statement."
  }

  validation {
    condition     = length(replace(var.document, "/\\s/", "")) <= 6144
    error_message = "The policy has at most 6,144 characters that are not white space."
  }
}

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
