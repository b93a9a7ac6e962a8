"""Apple's MDM: enrolment, commands, results, property lists."""
