"""A run from its workflow to its end: cast, driven, told of, stopped."""
