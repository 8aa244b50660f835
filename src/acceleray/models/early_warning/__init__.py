"""The early-warning model: will a position breach its tail threshold within the next 20 sessions?"""
