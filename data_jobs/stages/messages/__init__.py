"""The stage that analyses messages of customers."""
