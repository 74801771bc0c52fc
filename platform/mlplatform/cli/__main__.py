"""`python -m mlplatform.cli`: the same as `mlplatform`."""

from mlplatform.cli.main import main

if __name__ == "__main__":
    main()
