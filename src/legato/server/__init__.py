"""The server: lifecycle, limits and policy of many calls; must never know wire bytes."""
