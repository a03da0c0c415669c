variable "name" {
  description = "The name of all resources, and the prefix of the parameters."
  type        = string
  default     = "smartcloudops"
}

variable "region" {
  description = "The region in which the service acts."
  type        = string
}

variable "policy_file" {
  description = "The output of `smartcloudops iam-policy --region REGION --account NUMBER` for the playbooks."
  type        = string
}

variable "wheel" {
  description = "The path of the wheel from `make dist`, with its original name; it contains requirements.lock."
  type        = string
  validation {
    condition     = can(regex("^smartcloudops-[0-9a-z.+]+-py3-none-any\\.whl$", basename(var.wheel)))
    error_message = "The path of smartcloudops-VERSION-py3-none-any.whl."
  }
}

variable "mode" {
  description = "The highest mode of any run: observe, approve or auto."
  type        = string
  default     = "observe"
  validation {
    condition     = contains(["observe", "approve", "auto"], var.mode)
    error_message = "One of observe, approve and auto."
  }
}

variable "profile" {
  description = "The profile: development, staging or production; in the last two, playbooks must be armed."
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
  description = "A private subnet with access to AWS's APIs."
  type        = string
}

variable "client_security_group_ids" {
  description = "Security groups that may reach the API, by names of your choice; include Alertmanager's."
  type        = map(string)
}

variable "instance_type" {
  type    = string
  default = "t4g.small"
}

variable "ami_parameter" {
  description = "The public parameter with the image id; its architecture must match the instance type."
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
  description = "Days for which nobody, not even the account's owner, can remove objects of the audit bucket."
  type        = number
  default     = 365
}

variable "alarm_topic_arns" {
  description = "SNS topics that get a message when the heartbeat stops."
  type        = list(string)
}
