# The role of one account, which the hub's role assumes: apply it once in each account, with the
# output of `smartcloudops iam-policy --spoke --account NUMBER`. A CloudFormation StackSet with the
# same trust and policy does the same for a whole organization.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  type    = string
  default = "smartcloudops"
}

variable "hub_role_arn" {
  type        = string
  description = "The role of the service: nobody else may assume this one."
}

variable "external_id" {
  type        = string
  sensitive   = true
  description = "The external_id of this account in accounts.yaml."
  validation {
    condition     = length(var.external_id) >= 16
    error_message = "at least 16 characters that nobody guesses"
  }
}

variable "policy_file" {
  type = string
}

# Only the hub, and only with the external id. What the role may
# change needs the opt-in tag: its policy says so, as a trust cannot.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [var.hub_role_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.external_id]
    }
  }
}

resource "aws_iam_role" "spoke" {
  name                 = var.name
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "playbooks" {
  name   = "playbooks"
  role   = aws_iam_role.spoke.id
  policy = file(var.policy_file)
}

output "role_arn" {
  value = aws_iam_role.spoke.arn
}
