"""iPhone and Mac: enrolment, MDM client, profiles, the PKCS#12 each version opens."""
