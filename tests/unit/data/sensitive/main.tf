terraform {
  required_providers { aws = { source = "hashicorp/aws", version = "~> 5.100" } }
}
provider "aws" {
  region     = "eu-west-1"
  access_key = "000000000000"
  secret_key = "PLANTED-provider-secret-key"
}
variable "password" {
  type      = string
  sensitive = true
}
variable "with_default" {
  type      = string
  sensitive = true
  default   = "PLANTED-variable-default"
}
variable "nested" {
  sensitive = true
  type = object({ list = list(string), map = map(object({ token = string })) })
}
variable "open" {
  type    = string
  default = "visible-variable"
}
module "child" {
  source  = "./child"
  secret  = var.password
  literal = "PLANTED-module-literal"
}
resource "terraform_data" "whole" { input = var.nested }
resource "terraform_data" "part" { input = { open = "visible-part", hidden = var.password, deep = [{ a = "visible-deep", b = var.nested.list[0] }] } }
resource "terraform_data" "replaced" {
  input            = var.password
  triggers_replace = var.with_default
}
resource "aws_ssm_parameter" "p" {
  name  = "scan-fixture-parameter"
  type  = "SecureString"
  value = "PLANTED-literal-parameter"
}
resource "aws_secretsmanager_secret" "s" { name = "scan-fixture-secret" }
resource "aws_secretsmanager_secret_version" "v" {
  secret_id     = aws_secretsmanager_secret.s.id
  secret_string = "PLANTED-literal-secret-string"
}
resource "aws_iam_user" "u" {
  name = "scan-fixture-user"
  tags = { note = var.password, open = "visible-tag" }
}
data "aws_ssm_parameter" "read" {
  name       = aws_ssm_parameter.p.name
  depends_on = [aws_secretsmanager_secret.s]
}
check "about" {
  assert {
    condition     = length(var.open) > 100
    error_message = "short ${nonsensitive(var.password)}"
  }
}
output "whole" {
  value     = var.nested
  sensitive = true
}
output "mixed" {
  value     = { a = [var.password], b = "PLANTED-beside-a-sensitive-value" }
  sensitive = true
}
output "child" {
  value     = module.child.secret
  sensitive = true
}
output "open" { value = "visible-output" }
