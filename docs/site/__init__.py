"""The documentation as a site: pages made from the code, notebooks that are run, Sphinx."""
