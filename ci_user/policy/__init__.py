"""IAM policy documents: reading, rendering, and the two boundaries that guard every environment."""
