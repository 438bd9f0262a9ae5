"""What `legato balance` shows. Owns words and layout; must not know how a balancer works."""
