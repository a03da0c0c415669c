variable "name" {
  description = "What everything is called, and the prefix of its parameters."
  type        = string
  default     = "smartcloudops"
}

variable "region" {
  description = "The one region that it acts in."
  type        = string
}

variable "policy_file" {
  description = "What `smartcloudops iam-policy --region REGION --account NUMBER` printed for the playbooks."
  type        = string
}

variable "wheel" {
  description = "The wheel from `make dist`, under its own name; it contains requirements.lock, the hashes of its packages."
  type        = string
  validation {
    condition     = can(regex("^smartcloudops-[0-9a-z.+]+-py3-none-any\\.whl$", basename(var.wheel)))
    error_message = "The path of smartcloudops-VERSION-py3-none-any.whl."
  }
}

variable "mode" {
  description = "How far a run may go: observe, approve or auto."
  type        = string
  default     = "observe"
  validation {
    condition     = contains(["observe", "approve", "auto"], var.mode)
    error_message = "One of observe, approve and auto."
  }
}

variable "profile" {
  description = "Where it runs: development, staging or production; the last two need playbooks to be armed."
  type        = string
  default     = "production"
  validation {
    condition     = contains(["development", "staging", "production"], var.profile)
    error_message = "One of development, staging and production."
  }
}

variable "vpc_id" {
  description = "The VPC of Prometheus, Alertmanager and the service."
  type        = string
}

variable "subnet_id" {
  description = "A private subnet with a way to AWS's APIs."
  type        = string
}

variable "client_security_group_ids" {
  description = "By a name of yours: security groups that may reach the API, Alertmanager's among them."
  type        = map(string)
}

variable "instance_type" {
  type    = string
  default = "t4g.small"
}

variable "ami_parameter" {
  description = "The public parameter that names the image; it must be of the instance type's architecture."
  type        = string
  default     = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

variable "prometheus_url" {
  type = string
}

variable "alertmanager_url" {
  type = string
}

variable "audit_lock_days" {
  description = "For how long nobody, the account's owner included, may remove what is in the audit's bucket."
  type        = number
  default     = 365
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told when the heartbeat stops."
  type        = list(string)
}
