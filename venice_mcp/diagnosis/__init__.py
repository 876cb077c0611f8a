"""Why a caller is limited: what a pasted error says, what Venice tells, and the causes that follow from both."""
