"""The promise machine: pure rules, standard library only; time is always an argument."""
