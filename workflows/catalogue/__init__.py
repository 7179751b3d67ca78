"""What there is: protocols, experts, engines, workflows and runs, described from their code."""
