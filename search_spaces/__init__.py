"""Search spaces to use and to copy: one file each, which never imports nasproxy."""
