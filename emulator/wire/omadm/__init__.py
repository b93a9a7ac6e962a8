"""OMA-DM: SyncML, enrolment by MDE2, provisioning documents, the nodes of ClientCertificateInstall."""
