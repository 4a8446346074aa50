"""Dates and times as everybody reads them alike, whatever country they are in: none without its
zone, which is UTC (settings.TIME_ZONE)."""

DATE_FORMAT = SHORT_DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = r"Y-m-d H:i:s \U\T\C"
