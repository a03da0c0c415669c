# What the service's role needs for accounts: to assume their roles, and nothing else there. The
# policy is the output of `smartcloudops iam-policy --hub`.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "role_name" {
  type        = string
  description = "The name of the service's role."
}

variable "policy_file" {
  type = string
}

resource "aws_iam_role_policy" "accounts" {
  name   = "accounts"
  role   = var.role_name
  policy = file(var.policy_file)
}
