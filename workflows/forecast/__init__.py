"""What a run would take, told before it is made: calls, money, time, and questions enough."""
