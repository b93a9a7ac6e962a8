"""Windows and Android: enrolment by MDE2, OMA-DM sessions, the management tree."""
