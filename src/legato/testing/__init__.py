"""What everyone needs to test against legato: contract suites, scripted endpoints, in-memory calls.

Public, imported by nothing else in the package.
"""
