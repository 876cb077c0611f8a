"""What the operator allows: rules from files an agent does not write, and the one gate that holds requests to them."""
