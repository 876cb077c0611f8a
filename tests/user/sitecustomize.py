"""Makes the system say that every user's home is $TESTS_HOME."""

import os
import sys

if sys.platform != "win32" and "TESTS_HOME" in os.environ:
    import pwd

    _of_the_system = pwd.getpwuid

    def _of_the_tests(uid: int, /) -> pwd.struct_passwd:
        entry = _of_the_system(uid)
        return pwd.struct_passwd((*entry[:5], os.environ.get("TESTS_HOME", entry.pw_dir), *entry[6:]))

    pwd.getpwuid = _of_the_tests
