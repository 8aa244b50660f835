"""The night: its plan, its journal, its run and what happens when something fails."""
