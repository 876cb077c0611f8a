"""Venice keys and wallet keys that lie about in files and in git history. A found secret never leaves the worker."""
