"""What each rule runs: from verified inputs and a spec to published outputs, through the store."""
