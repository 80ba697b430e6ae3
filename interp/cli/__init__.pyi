from interp.cli import circuits as circuits
from interp.cli import main as main
