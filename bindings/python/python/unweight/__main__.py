"""``python -m unweight`` runs the program ``unweight``."""

from ._program import main

if __name__ == "__main__":
    main()
