from interp.cli import main as main
