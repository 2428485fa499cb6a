variable "secret" {
  type      = string
  sensitive = true
}
variable "literal" {
  type      = string
  sensitive = true
}
resource "terraform_data" "in_module" { input = [var.secret, var.literal, "visible-in-module"] }
output "secret" {
  value     = var.secret
  sensitive = true
}
